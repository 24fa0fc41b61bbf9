/** Numbers and times as the page prints them. */

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Stands where a number is not known yet: never a zero that nobody counted. */
export const UNKNOWN = '–';

export function count(value: number | undefined): string {
  return value === undefined ? UNKNOWN : WHOLE.format(value);
}

/** Three significant digits are what a glance can take in: 0.42 ms, 8.1 ms, 214 ms, 1.25 s. */
export function millis(value: number | undefined): string {
  if (value === undefined) return UNKNOWN;
  if (value >= 1_000) return `${(value / 1_000).toFixed(value >= 10_000 ? 1 : 2)} s`;
  if (value >= 100) return `${value.toFixed(0)} ms`;
  return `${value.toFixed(value >= 1 || value === 0 ? 1 : 2)} ms`;
}

export function share(part: number, whole: number): string {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)}%` : UNKNOWN;
}

export function clock(ms: number, timeZone?: string): string {
  return new Intl.DateTimeFormat('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    ...(timeZone === undefined ? {} : { timeZone }),
  }).format(ms);
}

export function speed(value: number): string {
  return `×${Number.isInteger(value) ? value : value.toFixed(1)}`;
}

export function plural(value: number, singular: string, many = `${singular}s`): string {
  return `${count(value)} ${value === 1 ? singular : many}`;
}

/** A name on the wire as words: `OTHERS_FIRST` is "others first". */
export function words(name: string): string {
  return name.toLowerCase().replaceAll('_', ' ');
}
