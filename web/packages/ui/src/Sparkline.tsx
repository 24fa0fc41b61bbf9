/** A trend at a glance. The numbers beside it carry the meaning, so it is hidden from screen readers. */
import { sparkPath } from './sparkPath';

type Props = { values: readonly number[]; tone?: string };

const WIDTH = 120;
const HEIGHT = 28;

export function Sparkline({ values, tone = 'plain' }: Props) {
  const path = sparkPath(values, WIDTH, HEIGHT);
  return (
    <svg className="spark" data-tone={tone} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {path !== null && (
        <>
          <path className="spark-area" d={path.area} />
          <path className="spark-line" d={path.line} vectorEffect="non-scaling-stroke" />
        </>
      )}
    </svg>
  );
}
