import { count, share } from '@doorstep/format';
import { Panel, Sparkline } from '@doorstep/ui';

import type { Counters } from '../frame';
import type { Sample } from '../state';

type Props = { counters: Counters | undefined; samples: readonly Sample[] };

export function CountersPanel({ counters, samples }: Props) {
  // From the first sample on, so that a total of thousands does not flatten what happened just now.
  const start = samples[0]?.delivered ?? 0;
  const delivered = samples.map((sample) => sample.delivered - start);
  return (
    <Panel title="Deliveries" aside={<span data-testid="orders-count">{count(counters?.orders)} orders</span>}>
      <div className="headline">
        <p>
          <strong data-testid="delivered-count" data-value={counters?.delivered}>
            {count(counters?.delivered)}
          </strong>
          <span>
            delivered
            {counters !== undefined && counters.orders > 0 && <em>{share(counters.delivered, counters.orders)} of orders</em>}
          </span>
        </p>
        <Sparkline values={delivered} tone="good" />
      </div>
      <dl className="trio">
        <Outcome label="Refused" testId="refused-count" tone="bad" value={counters?.refused} />
        <Outcome label="Returned" testId="returned-count" tone="warn" value={counters?.returned} />
        <Outcome label="Cancelled" testId="cancelled-count" tone="plain" value={counters?.cancelled} />
      </dl>
    </Panel>
  );
}

type OutcomeProps = { label: string; testId: string; tone: string; value: number | undefined };

function Outcome({ label, testId, tone, value }: OutcomeProps) {
  return (
    <div data-tone={tone}>
      <dt>{label}</dt>
      <dd data-testid={testId} data-value={value}>
        {count(value)}
      </dd>
    </div>
  );
}
