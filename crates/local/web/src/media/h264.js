// H.264 is the one video codec that viewers store and that KVS plays back.

/** Whether this browser can send it. */
export function sendsH264() {
  const codecs = globalThis.RTCRtpSender?.getCapabilities?.('video')?.codecs;
  // A browser that does not say what it can do is left to try.
  return !codecs || codecs.some(codec => codec.mimeType.toLowerCase() === 'video/h264');
}

/** What to do where it cannot. */
export const NO_H264 =
  'This browser cannot send H.264, and KVS viewers store no other video. In Firefox, let "OpenH264 Video Codec" be ' +
  'installed and always activated (about:addons, Plugins), and reload this page; or use Chrome, Edge or Safari.';

/**
 * A viewer that offers other codecs too would get the first of them from Chromium, whatever the answer prefers; this is
 * what decides. Nothing to do where H.264 was not negotiated.
 */
export async function preferH264(sender) {
  if (sender.track?.kind !== 'video') return;
  const parameters = sender.getParameters();
  const h264 = parameters.codecs.find(codec => codec.mimeType.toLowerCase() === 'video/h264');
  if (h264) {
    for (const encoding of parameters.encodings) encoding.codec = h264;
  }
  await sender.setParameters(parameters).catch(error => console.warn('H.264 preference', error));
}
