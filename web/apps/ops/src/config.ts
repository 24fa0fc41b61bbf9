/** The page's settings, asked of the server once. */
import { api, flag, listOf, lngLat, nullable, num, object, text, told, type LngLat } from '@doorstep/api';

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
  return checkConfig(await told(api(null).GET('/v1/ops/config', { signal })), 'config');
}
