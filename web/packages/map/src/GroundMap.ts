/** The MapLibre map behind a small face: build it on a region's ground, feed its sources, take it down. */
import { Map, NavigationControl, setWorkerUrl, type GeoJSONSource, type LayerSpecification } from 'maplibre-gl';
import 'maplibre-gl/dist/maplibre-gl.css';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url';

import { addCityName } from './drawing';
import { cityLabels, loadOutlines, outlineBounds } from './outlines';
import { groundStyle } from './style';

setWorkerUrl(workerUrl);

export type Region = { id: string; center: [lng: number, lat: number]; zoom: number };

/** What an app puts on the ground: its sources by name, and the layers that draw them, from the bottom up. */
export type Overlay<SourceId extends string> = {
  sources: readonly SourceId[];
  layers: readonly LayerSpecification[];
  /** Once before the first picture, for the drawings that the layers call. */
  prepare: (map: Map) => void;
};

export class GroundMap<SourceId extends string> {
  readonly map: Map;
  /** When the sources can be fed. */
  readonly loaded: Promise<unknown>;
  private readonly stop = new AbortController();
  private bounds: [number, number, number, number] | null = null;
  private ownView = false;

  constructor(
    container: HTMLElement,
    private readonly region: Region,
    tileUrl: string | null,
    { sources, layers, prepare }: Overlay<SourceId>,
    onReady: () => void,
  ) {
    this.map = new Map({
      container,
      style: groundStyle(tileUrl, sources, layers),
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
    this.loaded = this.map.once('load').then(() => prepare(this.map));
    void this.loaded.then(() => this.map.once('idle')).then(onReady);
    void this.showOutlines();
    // A resized window keeps the whole metro in view, unless somebody has chosen a view of their own.
    this.map.on('movestart', ({ originalEvent }) => {
      if (originalEvent !== undefined) this.ownView = true;
    });
    this.map.on('resize', () => {
      if (!this.ownView) this.fit();
    });
  }

  get isRemoved(): boolean {
    return this.stop.signal.aborted;
  }

  set(id: SourceId, data: GeoJSON.FeatureCollection): void {
    this.feed(id, data);
  }

  /** Back to the whole metro, or to where the settings say the region is. */
  fit(): void {
    this.ownView = false;
    if (this.bounds !== null) this.map.fitBounds(this.bounds, { padding: 22, animate: false });
    else this.map.jumpTo({ center: this.region.center, zoom: this.region.zoom });
  }

  remove(): void {
    this.stop.abort();
    this.map.remove();
  }

  private async showOutlines(): Promise<void> {
    const [outlines] = await Promise.all([
      loadOutlines(this.region.id, this.stop.signal),
      this.loaded,
      // The names are painted once, so the font must be there before.
      document.fonts.load('600 15px "IBM Plex Sans Variable"').catch(() => []),
    ]);
    if (outlines === null || this.isRemoved) return;
    const labels = cityLabels(outlines);
    for (const { properties } of labels.features) addCityName(this.map, properties.name, properties.rank);
    this.feed('outlines', outlines);
    this.feed('labels', labels);
    this.bounds = outlineBounds(outlines);
    this.fit();
  }

  private feed(id: string, data: GeoJSON.FeatureCollection): void {
    void this.map.getSource<GeoJSONSource>(id)?.setData(data);
  }
}
