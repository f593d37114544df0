import type { Cluster } from '../../api/types';
import { arrivedWords } from '../../models/words';
import { useTrans } from '../shared/context';

function percent(part: number, whole: number): string {
  return `${whole > 0 ? Math.min(100, (100 * part) / whole) : 0}%`;
}

/** How many workers arrived of those asked for. */
export function Meter({ cluster }: { cluster: Cluster }): JSX.Element {
  const trans = useTrans();
  const { requested, starting, connected } = cluster.workers;
  const whole = Math.max(requested, connected + starting);
  return (
    <div
      className="jp-Offload-meter"
      role="progressbar"
      aria-label={trans.__('Workers of %1', cluster.name)}
      aria-valuemin={0}
      aria-valuemax={whole}
      aria-valuenow={connected}
      aria-valuetext={arrivedWords(cluster, trans)}
    >
      <span className="jp-mod-connected" style={{ width: percent(connected, whole) }} />
      <span className="jp-mod-starting" style={{ width: percent(starting, whole) }} />
    </div>
  );
}
