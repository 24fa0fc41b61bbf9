/** The REST interface with its types, which `npm run generate` makes from `docs/openapi.json`. */
import createClient, { type Client } from 'openapi-fetch';

import type { paths } from './schema';

/** Asks as whoever holds the token (null: nobody), of the server that the page came from. */
export function api(token: string | null): Client<paths> {
  return createClient<paths>({
    baseUrl: globalThis.location?.origin ?? 'http://localhost',
    headers: { accept: 'application/json', ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
  });
}

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** What was answered. A refusal is thrown in the words of the server. */
export async function told<T>(asked: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await asked;
  if (response.ok) return data as T;
  const { title } = (typeof error === 'object' && error !== null ? error : {}) as { title?: unknown };
  throw new Error(typeof title === 'string' ? title : `The server answered ${response.status}.`);
}
