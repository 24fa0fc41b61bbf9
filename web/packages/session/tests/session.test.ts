import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { forgetToken, signIn, storedToken } from '../src/index';

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  });
});

afterEach(() => vi.unstubAllGlobals());

function answering(status: number, body: unknown) {
  vi.stubGlobal('fetch', () => Promise.resolve(Response.json(body, { status })));
}

test('a token is kept until it is forgotten', async () => {
  answering(200, { access_token: 'secret' });
  expect(await signIn('ann', 'right')).toBe('secret');
  expect(storedToken()).toBe('secret');
  forgetToken();
  expect(storedToken()).toBeNull();
});

test.each([
  [401, {}, 'do not match'],
  [429, {}, 'Too many attempts'],
  [503, {}, '503'],
  [200, {}, 'no access token'],
])('an answer %s signs nobody in', async (status, body, words) => {
  answering(status, body);
  await expect(signIn('ann', 'wrong')).rejects.toThrow(words);
  expect(storedToken()).toBeNull();
});
