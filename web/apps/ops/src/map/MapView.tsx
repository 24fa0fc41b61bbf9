/** The map's place in the page. Loaded on its own: MapLibre is big, and the numbers should not wait for it. */
import { useEffect, useRef, useState } from 'react';
import { plural } from '@doorstep/format';

import type { RegionConfig } from '../config';
import type { OpsFrame } from '../frame';
import { OpsMap } from './OpsMap';

type Props = {
  region: RegionConfig;
  tileUrl: string | null;
  frame: OpsFrame | null;
  live: boolean;
  onOffer: (offerId: string) => void;
};

export default function MapView({ region, tileUrl, frame, live, onOffer }: Props) {
  const container = useRef<HTMLDivElement>(null);
  const [map, setMap] = useState<OpsMap | null>(null);
  const [ready, setReady] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);

  useEffect(() => {
    if (container.current === null) return;
    let made: OpsMap;
    try {
      made = new OpsMap(container.current, region, tileUrl, () => setReady(true), onOffer);
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
      return;
    }
    setMap(made);
    return () => {
      setMap(null);
      setReady(false);
      made.remove();
    };
  }, [region, tileUrl, onOffer]);

  useEffect(() => {
    if (map !== null && frame !== null) map.show(frame);
  }, [map, frame]);

  useEffect(() => map?.setLive(live), [map, live]);

  return (
    <div className="map" data-testid="map" data-ready={ready}>
      <div ref={container} className="map-canvas" role="region" aria-label={describe(region, frame)} />
      {map !== null && (
        <button type="button" className="map-fit" onClick={() => map.fit()}>
          Fit metro
        </button>
      )}
      {failure !== null && (
        <p className="map-failure" role="alert">
          The map needs WebGL, which this browser does not offer. The numbers beside it stay live. ({failure})
        </p>
      )}
    </div>
  );
}

function describe(region: RegionConfig, frame: OpsFrame | null): string {
  if (frame === null) return `Map of ${region.name}, no data yet`;
  const parts = [
    plural(frame.drivers.total, 'driver'),
    plural(frame.tasks.points.length, 'open task'),
    plural(frame.offers.length, 'offer'),
  ];
  return `Map of ${region.name}: ${parts.join(', ')}`;
}
