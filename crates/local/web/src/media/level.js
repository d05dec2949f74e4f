// How loud a track is.

/** Quieter is silence to the meter. */
const FLOOR_DB = -60;

export class Level {
  /** @param {MediaStream} stream with sound  @param {(db: number) => void} show decibels to full scale, ten times a second */
  constructor(stream, show) {
    this.context = new AudioContext();
    // Without a gesture the browser may hold it back.
    this.context.resume().catch(() => {});
    const analyser = new AnalyserNode(this.context, { fftSize: 2048 });
    this.context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      show(Math.max(FLOOR_DB, 10 * Math.log10(power || 1e-12)));
    }, 100);
  }

  stop() {
    clearInterval(this.timer);
    this.context.close();
  }
}

/** Of the meter's length, 0 to 1. */
export const share = db => 1 - db / FLOOR_DB;
