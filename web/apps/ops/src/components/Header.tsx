import { UNKNOWN, clock, count, speed } from '@doorstep/format';

import type { RegionConfig } from '../config';
import type { OpsFrame } from '../frame';
import type { Connection } from '../state';

const SAYS: Record<Connection, string> = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  restarting: 'Region restarting',
  'signed-out': 'Signed out',
};

type Props = {
  regions: readonly RegionConfig[];
  regionId: string | null;
  onChooseRegion: (regionId: string) => void;
  frame: OpsFrame | null;
  connection: Connection;
};

export function Header({ regions, regionId, onChooseRegion, frame, connection }: Props) {
  return (
    <header className="bar">
      <h1 className="brand">
        <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width="26" height="26" />
        <span>
          Doorstep <span className="brand-app">Mission control</span>
        </span>
      </h1>
      <RegionName regions={regions} regionId={regionId} onChoose={onChooseRegion} />
      <dl className="facts">
        <div>
          <dt>Server clock</dt>
          <dd data-testid="clock">{frame === null ? UNKNOWN : clock(frame.now_ms)}</dd>
        </div>
        <div>
          <dt>Speed</dt>
          <dd data-testid="speed">{frame === null ? UNKNOWN : speed(frame.speed)}</dd>
        </div>
        <div>
          <dt>Epoch</dt>
          <dd data-testid="epoch">{count(frame?.epoch)}</dd>
        </div>
      </dl>
      <p className="link" role="status" data-testid="connection" data-state={connection}>
        <span className="link-dot" aria-hidden="true" />
        {SAYS[connection]}
      </p>
    </header>
  );
}

type RegionNameProps = {
  regions: readonly RegionConfig[];
  regionId: string | null;
  onChoose: (regionId: string) => void;
};

/** One region needs no choosing. */
function RegionName({ regions, regionId, onChoose }: RegionNameProps) {
  if (regions.length < 2) return <p className="region">{regions[0]?.name ?? 'Waiting for the server'}</p>;
  return (
    <label className="region">
      <span className="visually-hidden">Region</span>
      <select value={regionId ?? ''} onChange={(event) => onChoose(event.target.value)} data-testid="region">
        {regions.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
