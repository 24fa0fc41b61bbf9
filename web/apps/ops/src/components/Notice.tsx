import type { OpsState } from '../state';

type Props = { state: OpsState; hasRegion: boolean };

/** Says over the map why the picture is missing or standing still, and that the page is doing something about it. */
export function Notice({ state, hasRegion }: Props) {
  const words = wordsFor(state, hasRegion);
  if (words === null) return null;
  return (
    <div className="notice" data-testid="notice" data-state={state.connection}>
      <strong>{words.title}</strong>
      <span>{words.body}</span>
    </div>
  );
}

function wordsFor({ connection, detail, frame }: OpsState, hasRegion: boolean): { title: string; body: string } | null {
  const reason = detail?.replace(/\.$/, '');
  const held = frame === null ? '' : ' The last picture stays until then.';
  switch (connection) {
    case 'live':
    case 'signed-out':
      return null;
    case 'connecting':
      return hasRegion
        ? { title: 'Waiting for the first frame', body: 'The stream is being opened.' }
        : { title: 'Waiting for the server', body: 'Mission control starts by itself once the gateway answers.' };
    case 'reconnecting':
      return { title: 'Connection lost', body: `Trying again: ${reason ?? 'no answer'}.${held}` };
    case 'restarting':
      return { title: 'Region restarting', body: `${reason ?? 'the region is unavailable'}.${held}` };
  }
}
