/** Mission control's picture on the ground of a region: show it frames, take it down. */
import { GroundMap } from '@doorstep/map';

import type { RegionConfig } from '../config';
import type { OfferLine, OpsFrame } from '../frame';
import { driverFeatures, hexFeatures, offerFeatures, pulseFeatures, taskFeatures } from './features';
import { addPlaceIcons } from './icons';
import { LAYERS, SOURCES, type SourceId } from './style';

/** The light on an offer line runs at a film's pace, not the screen's: it is a hint, not a game. */
const PULSE_EVERY_MS = 66;
const PULSE_TRIP_MS = 1_400;

const REACH_PX = 6;

export class OpsMap {
  private readonly ground: GroundMap<SourceId>;
  private readonly reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
  private live = true;
  private offers: readonly OfferLine[] = [];
  private pulsing: ReturnType<typeof setInterval> | undefined;

  constructor(
    container: HTMLElement,
    region: RegionConfig,
    tileUrl: string | null,
    onReady: () => void,
    onOffer: (offerId: string) => void,
  ) {
    const overlay = { sources: SOURCES, layers: LAYERS, prepare: addPlaceIcons };
    this.ground = new GroundMap(container, region, tileUrl, overlay, onReady);
    const { map } = this.ground;
    map.on('click', ({ point }) => {
      const offerId = this.offerNear(point);
      if (offerId !== null) onOffer(offerId);
    });
    map.on('mousemove', ({ point }) => {
      map.getCanvas().style.cursor = this.offerNear(point) === null ? '' : 'pointer';
    });
  }

  show(frame: OpsFrame): void {
    void this.ground.loaded.then(() => {
      if (this.ground.isRemoved) return;
      const { places, legs } = taskFeatures(frame.tasks.points);
      this.ground.set('hexes', hexFeatures(frame.hexes));
      this.ground.set('legs', legs);
      this.ground.set('places', places);
      this.ground.set('drivers', driverFeatures(frame.drivers.positions));
      this.ground.set('offers', offerFeatures(frame.offers));
      this.offers = frame.offers;
      this.pulse();
    });
  }

  /** A picture that stands still must not go on blinking. */
  setLive(live: boolean): void {
    this.live = live;
    this.pulse();
  }

  fit(): void {
    this.ground.fit();
  }

  remove(): void {
    clearInterval(this.pulsing);
    this.ground.remove();
  }

  /** The offer whose line runs by this point of the screen: the lines are too thin to be hit. */
  private offerNear({ x, y }: { x: number; y: number }): string | null {
    const { map } = this.ground;
    if (map.getLayer('offer-line') === undefined) return null;
    const near: [[number, number], [number, number]] = [
      [x - REACH_PX, y - REACH_PX],
      [x + REACH_PX, y + REACH_PX],
    ];
    const id: unknown = map.queryRenderedFeatures(near, { layers: ['offer-line'] })[0]?.properties['id'];
    return typeof id === 'string' ? id : null;
  }

  private pulse(): void {
    const wanted = this.live && this.offers.length > 0 && !this.reducedMotion.matches;
    if (wanted && this.pulsing === undefined) {
      this.pulsing = setInterval(() => {
        if (document.hidden) return;
        this.ground.set('pulses', pulseFeatures(this.offers, (performance.now() % PULSE_TRIP_MS) / PULSE_TRIP_MS));
      }, PULSE_EVERY_MS);
    } else if (!wanted && this.pulsing !== undefined) {
      clearInterval(this.pulsing);
      this.pulsing = undefined;
      this.ground.set('pulses', pulseFeatures([], 0));
    }
  }
}
