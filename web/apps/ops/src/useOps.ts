/** The page's one source of live data: settings, session and the stream of the chosen region. */
import { useCallback, useEffect, useReducer, useState } from 'react';
import { backoffMs } from '@doorstep/live';
import { forgetToken, signIn, storedToken } from '@doorstep/session';

import { loadConfig, type OpsConfig } from './config';
import { INITIAL_STATE, reduceOps, type OpsState } from './state';
import { followStream } from './stream';

export type Ops = {
  config: OpsConfig | null;
  regionId: string | null;
  state: OpsState;
  token: string | null;
  chooseRegion: (regionId: string) => void;
  signIn: (username: string, password: string) => Promise<void>;
};

export function useOps(): Ops {
  const config = useConfig();
  const [chosen, chooseRegion] = useState<string | null>(null);
  // An object, so that signing in again restarts the stream even when the server hands out the same token.
  const [session, setSession] = useState(() => ({ token: storedToken() }));
  const [state, dispatch] = useReducer(reduceOps, INITIAL_STATE);
  const regionId = chosen ?? config?.regions[0]?.id ?? null;

  useEffect(() => {
    dispatch({ type: 'reset' });
  }, [regionId]);

  useEffect(() => {
    if (regionId === null) return;
    const abort = new AbortController();
    void followStream(regionId, session.token, abort.signal, (event) => {
      if (event.type === 'refused') forgetToken();
      if (event.type === 'malformed') console.warn('skipped a malformed frame:', event.reason);
      dispatch(event);
    });
    return () => abort.abort();
  }, [regionId, session]);

  const enter = useCallback(async (username: string, password: string) => {
    setSession({ token: await signIn(username, password) });
  }, []);

  return { config, regionId, state, token: session.token, chooseRegion, signIn: enter };
}

/** Asks until the server answers: the page may be opened before the gateway is up. */
function useConfig(): OpsConfig | null {
  const [config, setConfig] = useState<OpsConfig | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = (attempt: number) => {
      loadConfig(abort.signal).then(setConfig, (error: unknown) => {
        if (abort.signal.aborted) return;
        console.warn('no settings yet:', error);
        timer = setTimeout(() => ask(attempt + 1), backoffMs(attempt, Math.random()));
      });
    };
    ask(0);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, []);
  return config;
}
