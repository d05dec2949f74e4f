// Chromium as every run here has it: headless, with a camera and a microphone of its own that no one is asked about.
import { chromium } from 'playwright-core';

/** `more` goes with the camera: `--use-file-for-fake-video-capture=FILE`, say. */
export function launch(camera, ...more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      camera,
      ...more,
      '--use-fake-ui-for-media-stream',
      '--autoplay-policy=no-user-gesture-required',
      '--disable-gpu',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
