/** Why an offer went to its driver: what the server says of it, and the bars that show it. */
import { api, listOf, mapOf, nullable, num, object, text, told } from '@doorstep/api';
import { words } from '@doorstep/format';

import { TERM_LOOK, type TermLook } from './vocabulary';

export type LoggedOffer = {
  id: string;
  driver_id: string;
  status: string;
  reason: string | null;
  made_at: string;
  latency_s: number | null;
};

export type Candidate = {
  rank: number;
  driver_id: string | null;
  cost: number | null;
  terms: Record<string, number | null>;
};

export type Explanation = {
  offer: LoggedOffer;
  candidates: Candidate[];
  chosen: number | null;
  runner_up: number | null;
  gap: number | null;
  pruned: Record<string, number>;
};

const checkOffer = object<LoggedOffer>({
  id: text,
  driver_id: text,
  status: text,
  reason: nullable(text),
  made_at: text,
  latency_s: nullable(num),
});

const checkPage = object<{ offers: LoggedOffer[] }>({ offers: listOf(checkOffer) });

const checkExplanation = object<Explanation>({
  offer: checkOffer,
  candidates: listOf(
    object<Candidate>({ rank: num, driver_id: nullable(text), cost: nullable(num), terms: mapOf(nullable(num)) }),
  ),
  chosen: nullable(num),
  runner_up: nullable(num),
  gap: nullable(num),
  pruned: mapOf(num),
});

const OFFERS_SHOWN = 25;

export async function loadOffers(regionId: string, token: string | null, signal: AbortSignal): Promise<LoggedOffer[]> {
  const query = { region_id: regionId, limit: OFFERS_SHOWN };
  return checkPage(await told(api(token).GET('/v1/offers', { params: { query }, signal })), 'page').offers;
}

export async function loadExplanation(offerId: string, token: string | null, signal: AbortSignal): Promise<Explanation> {
  const path = { offer_id: offerId };
  return checkExplanation(await told(api(token).GET('/v1/offers/{offer_id}/explain', { params: { path }, signal })), 'explanation');
}

export type Segment = { term: string; label: string; color: string; cost: number; left: number; width: number };
export type Bar = { candidate: Candidate; segments: Segment[] };
export type Chart = { bars: Bar[]; zero: number; legend: ({ term: string } & TermLook)[] };

/** Not a cost of its own: the others are divided by it. */
const ACCEPTANCE = 'p_accept';
/** Earlier declines cost the same however likely an acceptance is. */
const UNDIVIDED: ReadonlySet<string> = new Set(['declined']);

/** Bars on one scale, in percent of the chart's width: what a candidate is credited lies left of `zero`. */
export function chartOf(candidates: readonly Candidate[]): Chart {
  const costs = candidates.map(costsOf);
  const sums = (sign: 1 | -1) => costs.map((parts) => parts.reduce((sum, [, cost]) => sum + Math.max(0, sign * cost), 0));
  const credit = Math.max(0, ...sums(-1));
  const whole = credit + Math.max(0, ...sums(1));
  const percent = (cost: number) => (whole > 0 ? (100 * cost) / whole : 0);
  const zero = percent(credit);
  const bars = candidates.map((candidate, index) => {
    let right = zero;
    let left = zero;
    const segments = (costs[index] ?? []).map(([term, cost]): Segment => {
      const width = percent(Math.abs(cost));
      const from = cost < 0 ? (left -= width) : right;
      if (cost > 0) right += width;
      return { term, ...look(term), cost, left: from, width };
    });
    return { candidate, segments };
  });
  const seen = new Set(costs.flatMap((parts) => parts.map(([term]) => term)));
  return { bars, zero, legend: inOrder([...seen]).map((term) => ({ term, ...look(term) })) };
}

/** What each term adds to the candidate's cost; nothing of a candidate who cannot be had. */
function costsOf({ cost, terms }: Candidate): [string, number][] {
  if (cost === null) return [];
  const likely = terms[ACCEPTANCE] ?? 1;
  return inOrder(Object.keys(terms)).flatMap((term): [string, number][] => {
    const value = terms[term];
    if (term === ACCEPTANCE || value === null || value === undefined || value === 0) return [];
    return [[term, UNDIVIDED.has(term) ? value : value / likely]];
  });
}

/** The terms that the page knows first and in its order, so that a colour stands at one place in every bar. */
function inOrder(terms: string[]): string[] {
  const known = Object.keys(TERM_LOOK);
  const place = (term: string) => (known.includes(term) ? known.indexOf(term) : known.length);
  return terms.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

function look(term: string): TermLook {
  return TERM_LOOK[term] ?? { label: words(term), color: '#8290a3' };
}
