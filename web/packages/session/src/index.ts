/** The access token: asked for once, kept for this tab only. */

const KEY = 'doorstep.access_token';

export function storedToken(): string | null {
  return sessionStorage.getItem(KEY);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

export async function signIn(username: string, password: string): Promise<string> {
  const response = await fetch('/v1/auth/token', {
    method: 'POST',
    headers: { accept: 'application/json' },
    body: new URLSearchParams({ grant_type: 'password', username, password }),
  });
  if (response.status === 400 || response.status === 401) throw new Error('That user name and password do not match.');
  if (response.status === 429) throw new Error('Too many attempts. Wait a moment and try again.');
  if (!response.ok) throw new Error(`The server answered ${response.status}. Try again.`);
  const { access_token: token } = (await response.json()) as { access_token?: unknown };
  if (typeof token !== 'string') throw new Error('The server sent no access token.');
  sessionStorage.setItem(KEY, token);
  return token;
}
