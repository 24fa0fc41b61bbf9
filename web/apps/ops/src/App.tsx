import { Suspense, lazy, useCallback, useEffect, useState } from 'react';
import { SignIn } from '@doorstep/ui';

import { CountersPanel } from './components/CountersPanel';
import { DecisionsPanel } from './components/DecisionsPanel';
import { DriversPanel } from './components/DriversPanel';
import { ExplainDialog } from './components/ExplainDialog';
import { Header } from './components/Header';
import { HealthPanel } from './components/HealthPanel';
import { Legend } from './components/Legend';
import { Notice } from './components/Notice';
import { OffersPanel } from './components/OffersPanel';
import { TasksPanel } from './components/TasksPanel';
import { useOps } from './useOps';

const MapView = lazy(() => import('./map/MapView'));

export function App() {
  const { config, regionId, state, token, chooseRegion, signIn } = useOps();
  const [asked, setAsked] = useState<{ offerId: string | null } | null>(null);
  const explain = useCallback((offerId: string) => setAsked({ offerId }), []);
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
          <OffersPanel
            counters={frame?.counters}
            open={frame?.offers.length}
            onExplain={() => setAsked({ offerId: null })}
          />
        </section>
        <section className="stage" aria-label="Live map">
          <Suspense fallback={<div className="map" />}>
            {config !== null && region !== null && (
              <MapView
                key={region.id}
                region={region}
                tileUrl={config.tile_url}
                frame={frame}
                live={connection === 'live'}
                onOffer={explain}
              />
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
      {asked !== null && region !== null && connection !== 'signed-out' && (
        <ExplainDialog regionId={region.id} token={token} offerId={asked.offerId} onClose={() => setAsked(null)} />
      )}
      {connection === 'signed-out' && (
        <SignIn
          title="Sign in to watch"
          text="This region’s stream is open to operators only."
          notice={state.detail}
          onSignIn={signIn}
        />
      )}
    </div>
  );
}
