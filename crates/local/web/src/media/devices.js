// Cameras, microphones and screens, and why one cannot be had in words that help.

export const SCREEN = 'screen';
export const NONE = 'none';

const SECURE =
  'A browser gives the camera only to pages on localhost or https. Open this page as http://localhost or http://127.0.0.1.';

/** Why a device could not be had. `what` is `camera`, `microphone`, `camera or microphone` or `screen`. */
export function explain(error, what) {
  switch (error.name) {
    case 'NotAllowedError':
      return what === 'screen'
        ? 'No screen was chosen, or the browser may not share it. Try again and choose one.'
        : `The browser was not allowed to use the ${what}. Allow it in the address bar and try again.`;
    case 'NotFoundError':
      return `No ${what} was found. Connect one, or choose “No picture” or “No sound” for what you do not have.`;
    case 'NotReadableError':
      return `The ${what} is in use by another program, or its driver does not answer. Close what uses it and try again.`;
    case 'OverconstrainedError':
      return `The ${what} that was chosen is no longer there. Choose another.`;
    case 'Error':
      return error.message;
    default:
      return `${error.name}: ${error.message}`;
  }
}

/** What can be chosen. Names come with the permission to use them; before that there is one unnamed entry for each kind. */
export async function choices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind, word) =>
    devices
      .filter(device => device.kind === kind && device.deviceId)
      .map((device, index) => [device.deviceId, device.label || `${word} ${index + 1}`]);
  return { cameras: of('videoinput', 'Camera'), microphones: of('audioinput', 'Microphone') };
}

function size({ width, height, frameRate }) {
  return { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate } };
}

/**
 * The tracks that are wanted.
 * @param {{picture: string, sound: string, width: number, height: number, frameRate: number}} wanted `picture` and `sound`
 *   are a device's id, empty for any, `none`, or for the picture `screen`
 * @returns {Promise<MediaStream>}
 */
export async function open(wanted) {
  if (!navigator.mediaDevices) throw new Error(SECURE);
  const device = id => (id ? { deviceId: { exact: id } } : {});
  const audio = wanted.sound === NONE ? false : device(wanted.sound);
  if (wanted.picture === SCREEN) {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: size(wanted), audio: false }).catch(error => {
      throw new Error(explain(error, 'screen'));
    });
    if (!audio) return stream;
    try {
      const sound = await navigator.mediaDevices.getUserMedia({ audio });
      return new MediaStream([...stream.getTracks(), ...sound.getTracks()]);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw new Error(explain(error, 'microphone'));
    }
  }
  const video = wanted.picture === NONE ? false : { ...device(wanted.picture), ...size(wanted) };
  if (!video && !audio) throw new Error('Choose a picture, a microphone or both.');
  const what = video && audio ? 'camera or microphone' : video ? 'camera' : 'microphone';
  return navigator.mediaDevices.getUserMedia({ video, audio }).catch(error => {
    throw new Error(explain(error, what));
  });
}
