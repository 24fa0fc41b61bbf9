import { count } from '@doorstep/format';
import { Panel, SplitBar } from '@doorstep/ui';

import { DRIVER_STATES, type OpsFrame } from '../frame';
import { DRIVER_LOOK } from '../vocabulary';

export function DriversPanel({ drivers }: { drivers: OpsFrame['drivers'] | undefined }) {
  const rows = DRIVER_STATES.map((state) => ({ key: state, ...DRIVER_LOOK[state], count: drivers?.counts[state] }));
  return (
    <Panel
      title="Drivers"
      aside={
        <>
          <b data-testid="drivers-total" data-value={drivers?.total}>
            {count(drivers?.total)}
          </b>{' '}
          in all
        </>
      }
    >
      <SplitBar parts={rows.map((row) => ({ ...row, count: row.count ?? 0 }))} />
      <dl className="rows rows-tall">
        {rows.map(({ key, label, color, count: n }) => (
          <div key={key}>
            <dt>
              <i className="dot" style={{ background: color }} aria-hidden="true" />
              {label}
            </dt>
            <dd data-testid={`drivers-${key}`}>{count(n)}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}
