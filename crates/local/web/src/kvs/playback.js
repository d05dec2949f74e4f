// What is stored, as AWS's own client asks for it: sessions of HLS, clips, images.
import {
  GetClipCommand,
  GetHLSStreamingSessionURLCommand,
  GetImagesCommand,
  KinesisVideoArchivedMediaClient,
} from '@aws-sdk/client-kinesis-video-archived-media';

const range = (from, to) => ({ StartTimestamp: new Date(from), EndTimestamp: new Date(to) });

export class Playback {
  /** @param {import('./server.js').Server} server  @param {{arn: string, region: string}} stream */
  constructor(server, stream) {
    this.server = server;
    this.stream = stream;
    this.clients = new Map();
  }

  /** Where a call goes is asked once. */
  #client(api) {
    if (!this.clients.has(api)) {
      const client = this.#make(api).catch(error => {
        this.clients.delete(api);
        throw error;
      });
      this.clients.set(api, client);
    }
    return this.clients.get(api);
  }

  async #make(api) {
    const endpoint = await this.server.dataEndpoint(this.stream.arn, api);
    const credentials = await this.server.credentials();
    return new KinesisVideoArchivedMediaClient({ region: this.stream.region, endpoint, credentials });
  }

  /** The master playlist of what is stored between two moments, or of what comes now. */
  async hls(between) {
    const client = await this.#client('GET_HLS_STREAMING_SESSION_URL');
    const command = {
      StreamARN: this.stream.arn,
      PlaybackMode: between ? 'ON_DEMAND' : 'LIVE',
      HLSFragmentSelector: {
        FragmentSelectorType: 'PRODUCER_TIMESTAMP',
        ...(between && { TimestampRange: range(between.from, between.to) }),
      },
      ContainerFormat: 'FRAGMENTED_MP4',
      DiscontinuityMode: 'ON_DISCONTINUITY',
      DisplayFragmentTimestamp: 'ALWAYS',
      Expires: 43200,
      ...(between && { MaxMediaPlaylistFragmentResults: 5000 }),
    };
    return (await client.send(new GetHLSStreamingSessionURLCommand(command))).HLSStreamingSessionURL;
  }

  /** An MP4 of what is stored between two moments. */
  async clip(from, to) {
    const client = await this.#client('GET_CLIP');
    const ClipFragmentSelector = { FragmentSelectorType: 'PRODUCER_TIMESTAMP', TimestampRange: range(from, to) };
    const answer = await client.send(new GetClipCommand({ StreamARN: this.stream.arn, ClipFragmentSelector }));
    return new Blob([await answer.Payload.transformToByteArray()], { type: answer.ContentType ?? 'video/mp4' });
  }

  /** The picture of a moment as an address, or nothing where there is none. Its width follows from the height. */
  async image(ms, height) {
    const client = await this.#client('GET_IMAGES');
    const command = {
      StreamARN: this.stream.arn,
      ImageSelectorType: 'PRODUCER_TIMESTAMP',
      StartTimestamp: new Date(Math.ceil(ms)),
      EndTimestamp: new Date(Math.ceil(ms)),
      Format: 'JPEG',
      FormatConfig: { JPEGQuality: '70' },
      HeightPixels: height,
    };
    const { Images = [] } = await client.send(new GetImagesCommand(command));
    const content = Images.find(image => image.ImageContent)?.ImageContent;
    return content ? `data:image/jpeg;base64,${content}` : null;
  }
}
