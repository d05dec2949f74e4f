// Holds the playlists of kvs-local to the rules of HLS, as hls-parser knows them (RFC 8216) and Apple's "HLS Authoring Specification
// for Apple Devices" has them as far as a playlist shows it. Apple's own mediastreamvalidator is for macOS alone.
//
// node hls_rules.mjs http://127.0.0.1:PORT REGION STREAM...
//
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are those of kvs-local; each STREAM holds fragments.

import {
  GetHLSStreamingSessionURLCommand,
  KinesisVideoArchivedMediaClient,
  ListFragmentsCommand,
} from '@aws-sdk/client-kinesis-video-archived-media';
import HLS from 'hls-parser';
import { broken, check, done } from './check.mjs';

const [endpoint, region, ...streams] = process.argv.slice(2);
const credentials = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
};
const archive = new KinesisVideoArchivedMediaClient({ region, endpoint, credentials });
HLS.setOptions({ strictMode: true });

/** The text of a playlist, and what the parser makes of it. */
async function playlist(what, url) {
  const answer = await fetch(url);
  const text = await answer.text();
  const type = answer.headers.get('content-type');
  check(`${what} is served as a playlist`, answer.status === 200 && type === 'application/vnd.apple.mpegurl', { type, text });
  try {
    return { text, parsed: HLS.parse(text) };
  } catch (error) {
    check(`${what} keeps the rules of RFC 8216`, false, { error, text });
  }
}

const round = number => Math.round(number * 1000) / 1000;

function master(what, { text, parsed }) {
  check(`${what}: has variants`, parsed.isMasterPlaylist && parsed.variants.length > 0, text);
  for (const variant of parsed.variants) {
    // 9.2, 9.8, 9.12, 9.14: what a player must know before it loads anything
    check(`${what}: a variant has bandwidth and codecs`, variant.bandwidth > 0 && variant.codecs?.length > 0, text);
    if (/avc1|hvc1/.test(variant.codecs)) {
      check(`${what}: pictures have a resolution`, variant.resolution?.width > 0 && variant.resolution.height > 0, text);
    }
    for (const sound of variant.audio) {
      check(`${what}: a rendition has its own playlist, name and group`, sound.uri && sound.name && sound.groupId, text);
    }
  }
}

function media(what, { text, parsed }, { onDemand, fmp4, marks, dates }) {
  const { segments } = parsed;
  check(`${what}: has segments`, !parsed.isMasterPlaylist && segments.length > 0, text);
  // RFC 8216 section 4.3.3.1, and no longer than has to be
  const longest = Math.max(...segments.map(segment => Math.round(segment.duration)));
  check(`${what}: the target duration holds the longest segment`, parsed.targetDuration >= longest, text);
  check(`${what}: each segment has a length`, segments.every(segment => segment.duration > 0), text);
  // section 4.3.5.1: pictures begin with a key frame in each
  check(`${what}: segments are independent`, text.includes('#EXT-X-INDEPENDENT-SEGMENTS'), text);
  // a replay that has reached the end of its range is complete as well
  check(`${what}: what is complete says so`, parsed.endlist || !onDemand, text);
  check(`${what}: a map is there for fragmented MP4 alone`, segments.every(segment => !!segment.map === fmp4), text);
  if (fmp4) check(`${what}: a map takes version 6`, parsed.version >= 6, text);
  const marked = segments.slice(1).filter(segment => segment.discontinuity).length;
  if (marks === 'ALWAYS') check(`${what}: each segment is marked`, marked === segments.length - 1, text);
  if (marks === 'NEVER') check(`${what}: no segment is marked`, marked === 0, text);
  const dated = segments.filter(segment => segment.programDateTime).length;
  check(`${what}: dates as asked for`, dated === (dates ? segments.length : 0), text);
  return segments.map(segment => [round(segment.duration), !!segment.discontinuity]);
}

async function rules(StreamName) {
  const { Fragments } = await archive.send(new ListFragmentsCommand({ StreamName }));
  const times = Fragments.map(fragment => fragment.ProducerTimestamp.getTime()).sort((a, b) => a - b);
  const TimestampRange = { StartTimestamp: new Date(times[0]), EndTimestamp: new Date(times.at(-1) + 1) };
  for (const PlaybackMode of ['ON_DEMAND', 'LIVE_REPLAY']) {
    for (const ContainerFormat of ['FRAGMENTED_MP4', 'MPEG_TS']) {
      for (const DiscontinuityMode of ['ALWAYS', 'NEVER', 'ON_DISCONTINUITY']) {
        const dates = DiscontinuityMode !== 'NEVER';
        const what = `${StreamName}, ${PlaybackMode}, ${ContainerFormat}, ${DiscontinuityMode}`;
        const command = new GetHLSStreamingSessionURLCommand({
          StreamName,
          PlaybackMode,
          ContainerFormat,
          DiscontinuityMode,
          DisplayFragmentTimestamp: dates ? 'ALWAYS' : 'NEVER',
          HLSFragmentSelector: { FragmentSelectorType: 'PRODUCER_TIMESTAMP', TimestampRange },
        });
        const url = (await archive.send(command)).HLSStreamingSessionURL;
        const first = await playlist(`the master playlist of ${what}`, url);
        master(what, first);
        const renditions = first.parsed.variants.flatMap(variant => [variant, ...variant.audio]).map(({ uri }) => uri);
        const shape = { onDemand: PlaybackMode === 'ON_DEMAND', fmp4: ContainerFormat === 'FRAGMENTED_MP4', marks: DiscontinuityMode, dates };
        const seen = [];
        for (const uri of renditions) {
          const track = `a media playlist of ${what}`;
          seen.push(media(track, await playlist(track, new URL(uri, url)), shape));
        }
        // RFC 8216 section 6.2.4: renditions are the same stretch of time, cut alike
        const alike = seen.every(other => other.length === seen[0].length && other.every(([, mark], i) => mark === seen[0][i][1]));
        if (shape.onDemand) check(`${what}: pictures and sound are cut alike`, alike, seen);
      }
    }
  }
}

try {
  for (const stream of streams) await rules(stream);
  done();
} catch (error) {
  broken(error);
}
