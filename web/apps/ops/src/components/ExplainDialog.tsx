import { useEffect, useRef, useState } from 'react';
import { clock, plural, words } from '@doorstep/format';

import { chartOf, loadExplanation, loadOffers, type Explanation, type LoggedOffer } from '../explain';
import { PRUNED_LABEL } from '../vocabulary';

type Props = { regionId: string; token: string | null; offerId: string | null; onClose: () => void };

/** The newest offers, and of one of them why it went to its driver. */
export function ExplainDialog({ regionId, token, offerId, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [chosen, choose] = useState(offerId);
  const offers = useAnswer(regionId, (signal) => loadOffers(regionId, token, signal));
  const shown = chosen ?? offers.value?.[0]?.id ?? null;
  const why = useAnswer(shown, (signal) => loadExplanation(shown ?? '', token, signal));

  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  return (
    <dialog
      ref={dialog}
      className="explain"
      aria-labelledby="explain-title"
      data-testid="explain"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header>
        <h2 id="explain-title">Why this driver?</h2>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </header>
      <ol className="explain-offers" aria-label="Newest offers" data-testid="explain-offers">
        {(offers.value ?? []).map((offer) => (
          <li key={offer.id}>
            <button type="button" aria-current={offer.id === shown} onClick={() => choose(offer.id)}>
              <OfferLine offer={offer} />
            </button>
          </li>
        ))}
        {offers.value?.length === 0 && <li className="empty">No offers yet.</li>}
        {offers.failure !== null && <li className="empty">{offers.failure}</li>}
      </ol>
      <section className="explain-why" aria-live="polite">
        {why.value !== null && <Why explanation={why.value} />}
        {why.failure !== null && (
          <p className="empty" role="alert">
            {why.failure}
          </p>
        )}
      </section>
    </dialog>
  );
}

function OfferLine({ offer }: { offer: LoggedOffer }) {
  const ended = offer.latency_s === null ? '' : ` after ${offer.latency_s.toFixed(1)} s`;
  return (
    <>
      <time dateTime={offer.made_at}>{clock(Date.parse(offer.made_at))}</time>
      <span>
        to {short(offer.driver_id)}, {words(offer.status)}
        {ended}
      </span>
    </>
  );
}

function Why({ explanation }: { explanation: Explanation }) {
  const { offer, candidates, chosen, runner_up: runnerUp, gap, pruned } = explanation;
  const { bars, zero, legend } = chartOf(candidates);
  const left = Object.entries(pruned).map(([reason, n]) => `${n} ${PRUNED_LABEL[reason] ?? words(reason)}`);
  return (
    <>
      <p data-testid="explain-verdict">
        <OfferLine offer={offer} />. {verdict(gap)}
      </p>
      <ul className="explain-legend">
        {legend.map(({ term, label, color }) => (
          <li key={term}>
            <i className="dot" style={{ background: color }} aria-hidden="true" />
            {label}
          </li>
        ))}
      </ul>
      <ol className="explain-bars" data-testid="explain-bars">
        {bars.map(({ candidate: { rank, driver_id: driverId, cost, terms }, segments }) => (
          <li key={rank} data-role={rank === chosen ? 'chosen' : rank === runnerUp ? 'runner-up' : undefined}>
            <span className="explain-driver">
              {rank}. {driverId === null ? 'another' : short(driverId)}
              {rank === chosen && <em>chosen</em>}
              {rank === runnerUp && <em>runner-up</em>}
            </span>
            <span className="explain-bar" role="img" aria-label={told(segments)}>
              <i className="explain-zero" style={{ left: `${zero}%` }} />
              {segments.map(({ term, label, color, cost: part, left: from, width }) => (
                <i
                  key={term}
                  title={`${label}: ${seconds(part)}`}
                  style={{ left: `${from}%`, width: `${width}%`, background: color }}
                />
              ))}
            </span>
            <span className="explain-cost">
              {cost === null ? 'barred' : seconds(cost)}
              <small>{chance(terms['p_accept'])}</small>
            </span>
          </li>
        ))}
      </ol>
      <p className="explain-note">
        Seconds of one order’s delay, each term over how likely the driver is to accept.
        {left.length > 0 && ` Not shown: ${left.join(', ')}.`}
      </p>
    </>
  );
}

function verdict(gap: number | null): string {
  if (gap === null) return 'Nobody else came into question.';
  if (gap >= 0) return `The runner-up would have cost ${seconds(gap)} more.`;
  return `The cheapest other driver would have cost ${seconds(-gap)} less; the plan as a whole was cheaper this way.`;
}

function told(segments: readonly { label: string; cost: number }[]): string {
  return segments.map(({ label, cost }) => `${label} ${seconds(cost)}`).join(', ') || 'no costs';
}

function seconds(cost: number): string {
  return Math.abs(cost) < 100 ? `${cost.toFixed(1)} s` : plural(Math.round(cost), 's', 's');
}

function chance(likely: number | null | undefined): string {
  return likely == null ? '' : `${Math.round(100 * likely)}% likely`;
}

function short(id: string): string {
  return id.slice(0, 8);
}

type Answer<T> = { value: T | null; failure: string | null };

/** What `ask` answers for this key, asked once; null while it is under way and where there is no key. */
function useAnswer<T>(key: string | null, ask: (signal: AbortSignal) => Promise<T>): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T> & { key: string | null }>({ key: null, value: null, failure: null });
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    latest.current(abort.signal).then(
      (value) => {
        if (!abort.signal.aborted) setAnswer({ key, value, failure: null });
      },
      (error: unknown) => {
        if (abort.signal.aborted) return;
        setAnswer({ key, value: null, failure: error instanceof Error ? error.message : String(error) });
      },
    );
    return () => abort.abort();
  }, [key]);
  return answer.key === key ? answer : { value: null, failure: null };
}
