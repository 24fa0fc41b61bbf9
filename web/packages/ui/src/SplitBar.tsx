/** Shares of a whole as one bar. Decoration beside a list that says the same in words. */
type Props = { parts: readonly { key: string; color: string; count: number }[] };

export function SplitBar({ parts }: Props) {
  return (
    <div className="split" aria-hidden="true">
      {parts
        .filter(({ count }) => count > 0)
        .map(({ key, color, count }) => (
          <span key={key} style={{ flexGrow: count, background: color }} />
        ))}
    </div>
  );
}
