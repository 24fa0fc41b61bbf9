/** A line that has just begun grows in from the right over this many places; later it fills the width. */
const PLACES_AT_LEAST = 30;

/** The geometry of a sparkline: the newest value is always at the right edge, and zero is always in the picture. */
export function sparkPath(
  values: readonly number[],
  width: number,
  height: number,
): { line: string; area: string } | null {
  if (values.length < 2) return null;
  const low = Math.min(0, ...values);
  const high = Math.max(...values);
  const range = high - low || 1;
  const step = width / (Math.max(PLACES_AT_LEAST, values.length) - 1);
  const margin = 1.5;
  const points = values.map((value, index) => {
    const x = width - (values.length - 1 - index) * step;
    const y = height - margin - ((value - low) / range) * (height - 2 * margin);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const line = `M${points.join('L')}`;
  const firstX = (width - (values.length - 1) * step).toFixed(1);
  return { line, area: `${line}L${width} ${height}L${firstX} ${height}Z` };
}
