// Drives kvs-local with the AWS SDK for JavaScript: node conformance.mjs http://127.0.0.1:PORT REGION STREAM FRAMES
//
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are those of kvs-local; STREAM holds FRAMES frames of video, and sound, in at
// least three fragments. GST_PLUGIN_PATH and CONTROL_PLANE_URI let kvssink send more.

import { KinesisVideoClient } from '@aws-sdk/client-kinesis-video';
import { broken, done } from './check.mjs';
import { channels, deletion, mediaStorage, strangers, streams } from './control.mjs';
import { clock, limits, pages, refusals } from './edges.mjs';
import { frames } from './frames.mjs';
import { media } from './media.mjs';
import { signaling } from './signaling.mjs';

const [endpoint, region, stored, count] = process.argv.slice(2);
const options = {
  region,
  endpoint,
  maxAttempts: 1,
  requestHandler: { connectionTimeout: 5_000, requestTimeout: 20_000, throwOnRequestTimeout: true },
  credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY },
};
const client = new KinesisVideoClient(options);
try {
  const channel = await channels(client, options);
  const stream = await streams(client);
  await mediaStorage(client, channel, stream);
  await strangers(options);
  await clock(options);
  await refusals(client, channel, options);
  await limits(client, channel, stream);
  await pages(client);
  await signaling(client, options);
  await media(client, options, stored);
  await frames(options, stored, Number(count));
  await deletion(client, channel, stream);
} catch (error) {
  broken(error);
}
done();
// An endless GetMedia may still be open.
process.exit(0);
