// What the page knows of the server: its configuration, its state as it changes, and AWS's clients for its calls.
import {
  CreateSignalingChannelCommand,
  CreateStreamCommand,
  DeleteSignalingChannelCommand,
  DeleteStreamCommand,
  DescribeSignalingChannelCommand,
  DescribeStreamCommand,
  GetDataEndpointCommand,
  KinesisVideoClient,
  UpdateDataRetentionCommand,
  UpdateSignalingChannelCommand,
} from '@aws-sdk/client-kinesis-video';

/** The region in an ARN: `arn:aws:kinesisvideo:REGION:…`. */
export const regionOf = arn => arn.split(':')[3];

/** Events: `state` with every new state, `connection` when the server goes or comes. */
export class Server extends EventTarget {
  constructor() {
    super();
    this.state = null;
    this.connected = false;
    this.clients = new Map();
  }

  /** Asks for the configuration once; what fails is asked again by the next who needs it. */
  config() {
    this.asked ??= ask('/_kvs/config').catch(error => {
      this.asked = null;
      throw error;
    });
    return this.asked;
  }

  watch() {
    const events = new EventSource('/_kvs/events');
    events.addEventListener('state', event => this.#show(JSON.parse(event.data)));
    events.addEventListener('open', () => this.#connection(true));
    // The browser connects again by itself.
    events.addEventListener('error', () => this.#connection(false));
  }

  /** Shows what a call has just changed without waiting for the next event. */
  async refresh() {
    this.#show(await ask('/_kvs/state'));
  }

  #show(state) {
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }

  #connection(connected) {
    if (this.connected === connected) return;
    this.connected = connected;
    this.dispatchEvent(new Event('connection'));
  }

  async credentials() {
    const { accessKeyId, secretAccessKey } = await this.config();
    return { accessKeyId, secretAccessKey };
  }

  /** A client of the control plane in a region, made once. */
  async control(region) {
    const config = await this.config();
    const where = region ?? config.region;
    if (!this.clients.has(where)) {
      const settings = { region: where, endpoint: location.origin, credentials: await this.credentials() };
      this.clients.set(where, new KinesisVideoClient(settings));
    }
    return this.clients.get(where);
  }

  async #call(region, command) {
    const answer = await (await this.control(region)).send(command);
    await this.refresh();
    return answer;
  }

  createChannel(ChannelName, ttl) {
    const SingleMasterConfiguration = { MessageTtlSeconds: ttl };
    return this.#call(null, new CreateSignalingChannelCommand({ ChannelName, SingleMasterConfiguration }));
  }

  async channel(ChannelARN) {
    const client = await this.control(regionOf(ChannelARN));
    return (await client.send(new DescribeSignalingChannelCommand({ ChannelARN }))).ChannelInfo;
  }

  updateChannel(ChannelARN, CurrentVersion, ttl) {
    const SingleMasterConfiguration = { MessageTtlSeconds: ttl };
    const command = new UpdateSignalingChannelCommand({ ChannelARN, CurrentVersion, SingleMasterConfiguration });
    return this.#call(regionOf(ChannelARN), command);
  }

  deleteChannel(ChannelARN) {
    return this.#call(regionOf(ChannelARN), new DeleteSignalingChannelCommand({ ChannelARN }));
  }

  createStream(StreamName, DataRetentionInHours) {
    return this.#call(null, new CreateStreamCommand({ StreamName, DataRetentionInHours }));
  }

  async #version(StreamARN) {
    const client = await this.control(regionOf(StreamARN));
    return (await client.send(new DescribeStreamCommand({ StreamARN }))).StreamInfo.Version;
  }

  /** Keeps media for so many hours from now on. */
  async keep(stream, hours) {
    const change = hours - stream.retentionHours;
    if (!change) return;
    const command = new UpdateDataRetentionCommand({
      StreamARN: stream.arn,
      CurrentVersion: await this.#version(stream.arn),
      Operation: change > 0 ? 'INCREASE_DATA_RETENTION' : 'DECREASE_DATA_RETENTION',
      DataRetentionChangeInHours: Math.abs(change),
    });
    await this.#call(stream.region, command);
  }

  deleteStream(StreamARN) {
    return this.#call(regionOf(StreamARN), new DeleteStreamCommand({ StreamARN }));
  }

  /** Where a call about a stream's media goes. */
  async dataEndpoint(StreamARN, APIName) {
    const client = await this.control(regionOf(StreamARN));
    return (await client.send(new GetDataEndpointCommand({ StreamARN, APIName }))).DataEndpoint;
  }

  /** Orders a fault, or clears; see `docs/kvs-local.md`. */
  async fault(order) {
    const answer = await ask('/_kvs/faults', { method: 'POST', body: JSON.stringify(order) });
    await this.refresh();
    return answer;
  }

  timeline(stream, from, to, resolution) {
    const query = new URLSearchParams({ region: stream.region, from, to, resolution });
    return ask(`/_kvs/streams/${encodeURIComponent(stream.name)}/timeline?${query}`);
  }
}

/** An answer of `/_kvs/` as JSON. */
async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.Message ?? body.message ?? `${path} answered ${answer.status}`);
  return body;
}
