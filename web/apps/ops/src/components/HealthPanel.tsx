import { count, millis, plural } from '@doorstep/format';
import { Panel, Sparkline } from '@doorstep/ui';

import type { Health } from '../frame';
import type { Sample } from '../state';
import { LIMITS, toneFor } from '../limits';

type Props = { health: Health | undefined; samples: readonly Sample[]; malformed: number };

export function HealthPanel({ health, samples, malformed }: Props) {
  return (
    <Panel
      title="Region health"
      aside={malformed > 0 ? <span className="warn">{plural(malformed, 'bad frame')} skipped</span> : 'last 2 min'}
    >
      <dl className="gauges">
        <Gauge
          label="Lag"
          testId="region-lag"
          value={millis(health?.lag_ms)}
          tone={toneFor(health?.lag_ms, LIMITS.lag_ms)}
          trend={samples.map((sample) => sample.lag_ms)}
        />
        <Gauge
          label="Step p99"
          testId="step-p99"
          value={millis(health?.step_ms_p99)}
          note={`p50 ${millis(health?.step_ms_p50)}`}
          tone={toneFor(health?.step_ms_p99, LIMITS.step_ms_p99)}
          trend={samples.map((sample) => sample.step_ms_p99)}
        />
        <Gauge
          label="Solve"
          testId="solve-last"
          value={millis(health?.solve_ms_last)}
          note={health && plural(health.solve_count, 'run')}
          tone={toneFor(health?.solve_ms_last, LIMITS.solve_ms_last)}
          trend={samples.map((sample) => sample.solve_ms_last)}
        />
        <Gauge
          label="Append p99"
          testId="append-p99"
          value={millis(health?.append_ms_p99)}
          note={`p50 ${millis(health?.append_ms_p50)}`}
          tone={toneFor(health?.append_ms_p99, LIMITS.append_ms_p99)}
          trend={samples.map((sample) => sample.append_ms_p99)}
        />
        <Gauge
          label="Inbox"
          testId="inbox"
          value={count(health?.inbox)}
          note="messages"
          tone={toneFor(health?.inbox, LIMITS.inbox)}
          trend={samples.map((sample) => sample.inbox)}
        />
      </dl>
    </Panel>
  );
}

type GaugeProps = {
  label: string;
  testId: string;
  value: string;
  note?: string | undefined;
  tone: string;
  trend: readonly number[];
};

function Gauge({ label, testId, value, note, tone, trend }: GaugeProps) {
  return (
    <div data-tone={tone}>
      <dt>
        {label}
        {note !== undefined && <small>{note}</small>}
      </dt>
      <Sparkline values={trend} tone={tone} />
      <dd data-testid={testId}>{value}</dd>
    </div>
  );
}
