/**
 * The ground of a region: cities as polygons and the main roads as lines, hand-drawn, simplified and shipped with the
 * page. A region without a file has a plain background.
 */
import type { Feature, FeatureCollection, LineString, Point, Polygon } from 'geojson';

type CityProperties = { name: string; rank: number; label: [lng: number, lat: number] };
type City = Feature<Polygon, CityProperties>;
type Road = Feature<LineString, { name: string }>;

export type Outlines = { type: 'FeatureCollection'; features: (City | Road)[] };

export async function loadOutlines(regionId: string, signal: AbortSignal): Promise<Outlines | null> {
  try {
    const url = `${import.meta.env.BASE_URL}outlines/${encodeURIComponent(regionId)}.geojson`;
    const response = await fetch(url, { signal });
    return response.ok ? ((await response.json()) as Outlines) : null;
  } catch {
    // Not found may also arrive as the server's HTML page, which is no JSON.
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
