import { count } from '@doorstep/format';
import { Panel, SplitBar } from '@doorstep/ui';

import type { OpsFrame } from '../frame';
import { taskRows, waitingRows } from '../vocabulary';

export function TasksPanel({ tasks }: { tasks: OpsFrame['tasks'] | undefined }) {
  const rows = taskRows(tasks?.counts ?? {});
  const total = tasks && rows.reduce((sum, row) => sum + row.count, 0);
  return (
    <Panel
      title="Open tasks"
      aside={
        <>
          <b data-testid="tasks-total">{count(total)}</b> in hand
        </>
      }
    >
      <SplitBar parts={rows.map((row) => ({ ...row, key: row.status }))} />
      <dl className="rows rows-tall">
        {rows.map(({ status, label, color, count: n }) => (
          <div key={status}>
            <dt>
              <i className="dot" style={{ background: color }} aria-hidden="true" />
              {label}
            </dt>
            <dd data-testid={`tasks-${status}`}>{count(tasks && n)}</dd>
          </div>
        ))}
      </dl>
      {tasks && tasks.counts.OPEN ? (
        <p className="reasons" data-testid="tasks-waiting">
          Open:{' '}
          {waitingRows(tasks.waiting).map(({ reason, label, count: n, tone }) => (
            <span key={reason} data-reason={reason} data-tone={tone}>
              <b>{count(n)}</b> {label}
            </span>
          ))}
        </p>
      ) : null}
    </Panel>
  );
}
