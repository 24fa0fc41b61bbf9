import { Suspense, lazy, useEffect } from 'react';

import { CountersPanel } from './components/CountersPanel';
import { DecisionsPanel } from './components/DecisionsPanel';
import { DriversPanel } from './components/DriversPanel';
import { Header } from './components/Header';
import { HealthPanel } from './components/HealthPanel';
import { Legend } from './components/Legend';
import { Notice } from './components/Notice';
import { OffersPanel } from './components/OffersPanel';
import { SignIn } from './components/SignIn';
import { TasksPanel } from './components/TasksPanel';
import { useOps } from './useOps';

const MapView = lazy(() => import('./map/MapView'));

export function App() {
  const { config, regionId, state, chooseRegion, signIn } = useOps();
  const { frame, samples, connection } = state;
  const region = config?.regions.find(({ id }) => id === regionId) ?? null;

  useEffect(() => {
    document.title = region === null ? 'Mission control – Doorstep' : `${region.name} – Mission control – Doorstep`;
  }, [region]);

  return (
    <div className="room" data-connection={connection}>
      <Header
        regions={config?.regions ?? []}
        regionId={regionId}
        onChooseRegion={chooseRegion}
        frame={frame}
        connection={connection}
      />
      <main className="floor">
        <section className="rail rail-left" aria-label="Work in the region">
          <CountersPanel counters={frame?.counters} samples={samples} />
          <DriversPanel drivers={frame?.drivers} />
          <TasksPanel tasks={frame?.tasks} />
          <OffersPanel counters={frame?.counters} open={frame?.offers.length} />
        </section>
        <section className="stage" aria-label="Live map">
          <Suspense fallback={<div className="map" />}>
            {config !== null && region !== null && (
              <MapView key={region.id} region={region} tileUrl={config.tile_url} frame={frame} live={connection === 'live'} />
            )}
          </Suspense>
          <Notice state={state} hasRegion={region !== null} />
          <Legend />
        </section>
        <section className="rail rail-right" aria-label="Health and decisions">
          <HealthPanel health={frame?.health} samples={samples} malformed={state.malformed} />
          <DecisionsPanel decisions={frame?.decisions} />
        </section>
      </main>
      {connection === 'signed-out' && <SignIn notice={state.detail} onSignIn={signIn} />}
    </div>
  );
}
