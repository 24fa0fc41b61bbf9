/** One GET as whoever holds the token (null: nobody). A refusal is thrown in the words of the server. */
export async function ask(path: string, token: string | null, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(path, {
    signal,
    headers: { accept: 'application/json', ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
  });
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body;
  const { title } = (body ?? {}) as { title?: unknown };
  throw new Error(typeof title === 'string' ? title : `The server answered ${response.status}.`);
}
