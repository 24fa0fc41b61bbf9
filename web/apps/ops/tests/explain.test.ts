import { afterEach, describe, expect, test, vi } from 'vitest';

import { chartOf, loadExplanation, loadOffers, type Candidate } from '../src/explain';

const NEAR: Candidate = { rank: 1, driver_id: 'ann', cost: 50, terms: { delay: 30, travel: 10, p_accept: 0.8 } };
const CREDITED: Candidate = {
  rank: 2,
  driver_id: 'bob',
  cost: 70,
  terms: { travel: 40, fairness: -10, declined: 40, p_accept: 1 },
};
const BARRED: Candidate = { rank: 3, driver_id: null, cost: null, terms: { travel: 5, declined: null } };

describe('the chart', () => {
  test('a bar is as long as the cost, whatever divides its terms', () => {
    const { bars } = chartOf([NEAR, CREDITED]);
    for (const { candidate, segments } of bars) {
      expect(segments.reduce((sum, { cost }) => sum + cost, 0)).toBeCloseTo(candidate.cost ?? NaN);
    }
    // What a decline costs is not divided.
    expect(bars[1]?.segments.find(({ term }) => term === 'declined')?.cost).toBe(40);
  });

  test('bars share one scale that leaves room for credits, and never leave the chart', () => {
    const { bars, zero } = chartOf([NEAR, CREDITED]);
    expect(zero).toBeCloseTo((100 * 10) / 90);
    const [near, credited] = bars.map(({ segments }) => segments);
    expect(near?.map(({ term }) => term)).toEqual(['travel', 'delay']);
    expect(near?.[0]?.left).toBeCloseTo(zero);
    expect(near?.[1]?.left).toBeCloseTo(zero + (near?.[0]?.width ?? NaN));
    expect(credited?.find(({ term }) => term === 'fairness')?.left).toBeCloseTo(0);
    const ends = bars.flatMap(({ segments }) => segments.map(({ left, width }) => left + width));
    expect(Math.max(...ends)).toBeCloseTo(100);
  });

  test('who is barred has no bar, and nothing to show is no error', () => {
    expect(chartOf([BARRED]).bars[0]?.segments).toEqual([]);
    expect(chartOf([])).toEqual({ bars: [], zero: 0, legend: [] });
    expect(chartOf([{ ...NEAR, cost: 0, terms: {} }]).bars[0]?.segments).toEqual([]);
  });

  test('a term of a newer server comes last and is named by its words', () => {
    const { legend } = chartOf([{ ...NEAR, terms: { steep_hills: 4, delay: 30, travel: 10 } }]);
    expect(legend.map(({ label }) => label)).toEqual(['driving to the store', 'delay', 'steep hills']);
  });
});

describe('asking', () => {
  afterEach(() => vi.unstubAllGlobals());

  function answering(status: number, body: unknown) {
    const fetched = vi.fn((_asked: Request) => Promise.resolve(Response.json(body, { status })));
    vi.stubGlobal('fetch', fetched);
    return fetched;
  }

  const offer = { id: 'o1', driver_id: 'ann', status: 'OFFERED', made_at: '2026-01-01T00:00:00Z' };

  test('with the token, and with what the page knows of the answer', async () => {
    const fetched = answering(200, { offers: [{ ...offer, features: {} }], next_cursor: null });
    expect(await loadOffers('tx-dfw', 'secret', new AbortController().signal)).toEqual([
      { ...offer, reason: null, latency_s: null },
    ]);
    const [asked] = fetched.mock.calls[0] ?? [];
    expect(asked?.url).toContain('/v1/offers?region_id=tx-dfw&');
    expect(asked?.headers.get('authorization')).toBe('Bearer secret');
  });

  test('a refusal is told in the words of the server', async () => {
    answering(410, { title: 'It is no longer kept.', code: 'EXPLANATION_EXPIRED' });
    await expect(loadExplanation('o1', null, new AbortController().signal)).rejects.toThrow('It is no longer kept.');
    answering(502, 'bad gateway');
    await expect(loadExplanation('o1', null, new AbortController().signal)).rejects.toThrow('502');
  });

  test('an answer of another shape is refused by its path', async () => {
    answering(200, { offer, candidates: [{ rank: '1' }], pruned: {} });
    await expect(loadExplanation('o1', null, new AbortController().signal)).rejects.toThrow('candidates[0].rank');
  });
});
