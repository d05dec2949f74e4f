// Builds the page into one folder: `npm run build -- --outdir DIR` (default: dist).
import { cp, mkdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { build } from 'esbuild';

const at = process.argv.indexOf('--outdir');
const outdir = path.resolve(at > 0 ? process.argv[at + 1] : 'dist');
const sdk = createRequire(import.meta.url)('amazon-kinesis-video-streams-webrtc/package.json');

await rm(outdir, { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
await build({
  entryPoints: [{ in: 'src/main.js', out: 'main' }, { in: 'src/styles/main.css', out: 'main' }],
  outdir,
  bundle: true,
  minify: true,
  sourcemap: true,
  format: 'esm',
  target: 'es2022',
  // What the SDK expects of webpack.
  define: { 'process.env.PACKAGE_VERSION': JSON.stringify(sdk.version), global: 'globalThis' },
  logLevel: 'warning',
});
for (const file of ['index.html', 'logo.svg']) {
  await cp(`src/${file}`, path.join(outdir, file));
}
