/** The feed: stable keys, so that only a new line animates, and a tone for each line. */
import type { Decision } from './frame';

export type Tone = 'good' | 'bad' | 'offer' | 'plain';

export type FeedLine = Decision & { key: string; tone: Tone };

/** The server sends words, not kinds; the tone is only a hint of colour and nothing depends on it. */
const TONES: readonly [RegExp, Tone][] = [
  [/\b(refus|reject|expired|cancel|revok|return|fail|lost|stale)/i, 'bad'],
  [/\b(deliver|verified|accept|picked up)/i, 'good'],
  [/\boffer/i, 'offer'],
];

export function toneOf(text: string): Tone {
  return TONES.find(([pattern]) => pattern.test(text))?.[1] ?? 'plain';
}

export function feedLines(decisions: readonly Decision[]): FeedLine[] {
  // Two decisions can share time and words. Numbering them from the oldest keeps a key when newer ones arrive above.
  const seen = new Map<string, number>();
  const lines = decisions.toReversed().map((decision) => {
    const base = `${decision.at_ms} ${decision.text}`;
    const nth = (seen.get(base) ?? 0) + 1;
    seen.set(base, nth);
    return { ...decision, key: `${base} ${nth}`, tone: toneOf(decision.text) };
  });
  return lines.toReversed();
}
