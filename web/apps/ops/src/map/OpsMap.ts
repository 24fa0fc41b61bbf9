/** The MapLibre map behind a small face: build it, show a region, feed it frames, take it down. */
import { Map, NavigationControl, setWorkerUrl, type GeoJSONSource } from 'maplibre-gl';
import 'maplibre-gl/dist/maplibre-gl.css';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url';

import type { RegionConfig } from '../config';
import type { OfferLine, OpsFrame } from '../frame';
import { driverFeatures, hexFeatures, offerFeatures, pulseFeatures, taskFeatures } from './features';
import { addCityName, addPlaceIcons } from './icons';
import { cityLabels, loadOutlines, outlineBounds } from './outlines';
import { opsStyle } from './style';

setWorkerUrl(workerUrl);

type SourceId = 'outlines' | 'labels' | 'hexes' | 'legs' | 'offers' | 'drivers' | 'places' | 'pulses';

/** The light on an offer line runs at a film's pace, not the screen's: it is a hint, not a game. */
const PULSE_EVERY_MS = 66;
const PULSE_TRIP_MS = 1_400;

const REACH_PX = 6;

export class OpsMap {
  private readonly map: Map;
  private readonly loaded: Promise<unknown>;
  private readonly stop = new AbortController();
  private readonly reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
  private bounds: [number, number, number, number] | null = null;
  private ownView = false;
  private live = true;
  private offers: readonly OfferLine[] = [];
  private pulsing: ReturnType<typeof setInterval> | undefined;

  constructor(
    container: HTMLElement,
    private readonly region: RegionConfig,
    tileUrl: string | null,
    onReady: () => void,
    onOffer: (offerId: string) => void,
  ) {
    this.map = new Map({
      container,
      style: opsStyle(tileUrl),
      center: region.center,
      zoom: region.zoom,
      minZoom: 6,
      maxZoom: 16,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      attributionControl: tileUrl === null ? false : { compact: true },
      fadeDuration: 0,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), 'top-right');
    this.loaded = this.map.once('load').then(() => addPlaceIcons(this.map));
    void this.loaded.then(() => this.map.once('idle')).then(onReady);
    void this.showOutlines();
    // A resized window keeps the whole metro in view, unless somebody has chosen a view of their own.
    this.map.on('movestart', ({ originalEvent }) => {
      if (originalEvent !== undefined) this.ownView = true;
    });
    this.map.on('resize', () => {
      if (!this.ownView) this.fit();
    });
    this.map.on('click', ({ point }) => {
      const offerId = this.offerNear(point);
      if (offerId !== null) onOffer(offerId);
    });
    this.map.on('mousemove', ({ point }) => {
      this.map.getCanvas().style.cursor = this.offerNear(point) === null ? '' : 'pointer';
    });
  }

  show(frame: OpsFrame): void {
    void this.loaded.then(() => {
      if (this.stop.signal.aborted) return;
      const { places, legs } = taskFeatures(frame.tasks.points);
      this.set('hexes', hexFeatures(frame.hexes));
      this.set('legs', legs);
      this.set('places', places);
      this.set('drivers', driverFeatures(frame.drivers.positions));
      this.set('offers', offerFeatures(frame.offers));
      this.offers = frame.offers;
      this.pulse();
    });
  }

  /** A picture that stands still must not go on blinking. */
  setLive(live: boolean): void {
    this.live = live;
    this.pulse();
  }

  /** Back to the whole metro, or to where the settings say the region is. */
  fit(): void {
    this.ownView = false;
    if (this.bounds !== null) this.map.fitBounds(this.bounds, { padding: 22, animate: false });
    else this.map.jumpTo({ center: this.region.center, zoom: this.region.zoom });
  }

  remove(): void {
    this.stop.abort();
    clearInterval(this.pulsing);
    this.map.remove();
  }

  /** The offer whose line runs by this point of the screen: the lines are too thin to be hit. */
  private offerNear({ x, y }: { x: number; y: number }): string | null {
    if (this.map.getLayer('offer-line') === undefined) return null;
    const near: [[number, number], [number, number]] = [
      [x - REACH_PX, y - REACH_PX],
      [x + REACH_PX, y + REACH_PX],
    ];
    const id: unknown = this.map.queryRenderedFeatures(near, { layers: ['offer-line'] })[0]?.properties['id'];
    return typeof id === 'string' ? id : null;
  }

  private async showOutlines(): Promise<void> {
    const [outlines] = await Promise.all([
      loadOutlines(this.region.id, this.stop.signal),
      this.loaded,
      // The names are painted once, so the font must be there before.
      document.fonts.load('600 15px "IBM Plex Sans Variable"').catch(() => []),
    ]);
    if (outlines === null || this.stop.signal.aborted) return;
    const labels = cityLabels(outlines);
    for (const { properties } of labels.features) addCityName(this.map, properties.name, properties.rank);
    this.set('outlines', outlines);
    this.set('labels', labels);
    this.bounds = outlineBounds(outlines);
    this.fit();
  }

  private pulse(): void {
    const wanted = this.live && this.offers.length > 0 && !this.reducedMotion.matches;
    if (wanted && this.pulsing === undefined) {
      this.pulsing = setInterval(() => {
        if (document.hidden) return;
        this.set('pulses', pulseFeatures(this.offers, (performance.now() % PULSE_TRIP_MS) / PULSE_TRIP_MS));
      }, PULSE_EVERY_MS);
    } else if (!wanted && this.pulsing !== undefined) {
      clearInterval(this.pulsing);
      this.pulsing = undefined;
      this.set('pulses', pulseFeatures([], 0));
    }
  }

  private set(id: SourceId, data: GeoJSON.FeatureCollection): void {
    void this.map.getSource<GeoJSONSource>(id)?.setData(data);
  }
}
