/**
 * The ground of a region: cities as polygons and the main roads as lines, hand-drawn, simplified and shipped with the
 * page (`outlines/<region_id>.geojson`). A region without a file has a plain background.
 */
import type { Feature, FeatureCollection, LineString, Point, Polygon } from 'geojson';

type CityProperties = { name: string; rank: number; label: [lng: number, lat: number] };
type City = Feature<Polygon, CityProperties>;
type Road = Feature<LineString, { name: string }>;

export type Outlines = { type: 'FeatureCollection'; features: (City | Road)[] };

const FILES = import.meta.glob<string>('../outlines/*.geojson', { query: '?url&no-inline', import: 'default', eager: true });

export async function loadOutlines(regionId: string, signal: AbortSignal): Promise<Outlines | null> {
  const url = FILES[`../outlines/${regionId}.geojson`];
  if (url === undefined) return null;
  try {
    const response = await fetch(url, { signal });
    return response.ok ? ((await response.json()) as Outlines) : null;
  } catch {
    // A picture without a ground is better than none.
    return null;
  }
}

export function cityLabels(outlines: Outlines): FeatureCollection<Point, { name: string; rank: number }> {
  return {
    type: 'FeatureCollection',
    features: cities(outlines).map(({ properties: { name, rank, label } }) => ({
      type: 'Feature',
      properties: { name, rank },
      geometry: { type: 'Point', coordinates: label },
    })),
  };
}

export function outlineBounds(outlines: Outlines): [west: number, south: number, east: number, north: number] {
  const points = cities(outlines).flatMap(({ geometry }) => geometry.coordinates.flat());
  const lngs = points.map(([lng = 0]) => lng);
  const lats = points.map(([, lat = 0]) => lat);
  return [Math.min(...lngs), Math.min(...lats), Math.max(...lngs), Math.max(...lats)];
}

function cities(outlines: Outlines): City[] {
  return outlines.features.filter((feature): feature is City => feature.geometry.type === 'Polygon');
}
