import { count, share } from '@doorstep/format';
import { Panel, SplitBar } from '@doorstep/ui';

import type { Counters } from '../frame';
import { DRIVER_LOOK, OFFER_COLOR } from '../vocabulary';

type Props = { counters: Counters | undefined; open: number | undefined; onExplain: () => void };

export function OffersPanel({ counters, open, onExplain }: Props) {
  const outcomes = [
    { key: 'accepted', label: 'Accepted', color: DRIVER_LOOK.free.color, count: counters?.offers_accepted },
    { key: 'rejected', label: 'Rejected', color: DRIVER_LOOK.returning.color, count: counters?.offers_rejected },
    { key: 'expired', label: 'Expired', color: OFFER_COLOR, count: counters?.offers_expired },
    { key: 'revoked', label: 'Revoked', color: DRIVER_LOOK.stale.color, count: counters?.offers_revoked },
  ];
  // Offers still open or taken back say nothing about drivers' willingness.
  const answered = outcomes.slice(0, 3).reduce((sum, outcome) => sum + (outcome.count ?? 0), 0);
  return (
    <Panel
      title="Offers"
      aside={
        <>
          <b data-testid="offers-made">{count(counters?.offers_made)}</b> made, <b>{count(open)}</b> open
        </>
      }
    >
      <p className="rate">
        <strong data-testid="acceptance-rate">{share(counters?.offers_accepted ?? 0, answered)}</strong> accepted
        <button type="button" className="why" onClick={onExplain}>
          Why these drivers?
        </button>
      </p>
      <SplitBar parts={outcomes.map((outcome) => ({ ...outcome, count: outcome.count ?? 0 }))} />
      <dl className="rows rows-tall">
        {outcomes.map(({ key, label, color, count: n }) => (
          <div key={key}>
            <dt>
              <i className="dot" style={{ background: color }} aria-hidden="true" />
              {label}
            </dt>
            <dd data-testid={`offers-${key}`}>{count(n)}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}
