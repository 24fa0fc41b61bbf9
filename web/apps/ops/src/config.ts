/** The page's settings, asked of the server once. */
import { flag, listOf, lngLat, nullable, num, object, text, type LngLat } from '@doorstep/api';

export type RegionConfig = { id: string; name: string; center: LngLat; zoom: number };

export type OpsConfig = {
  tile_url: string | null;
  auth_required: boolean;
  regions: RegionConfig[];
};

const checkConfig = object<OpsConfig>({
  tile_url: nullable(text),
  auth_required: flag,
  regions: listOf(object<RegionConfig>({ id: text, name: text, center: lngLat, zoom: num })),
});

export async function loadConfig(signal: AbortSignal): Promise<OpsConfig> {
  const response = await fetch('/v1/ops/config', { signal, headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(`the server answered ${response.status} to /v1/ops/config`);
  return checkConfig(await response.json(), 'config');
}
