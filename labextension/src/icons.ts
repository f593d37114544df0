import { LabIcon } from '@jupyterlab/ui-components';
import dashboardsSvg from '../style/icons/dashboards.svg';
import offloadSvg from '../style/icons/offload.svg';

/** The mark of the extension: panel, panes, launcher, toolbar, running clusters. */
export const offloadIcon = new LabIcon({ name: 'jupyter-offload:icon', svgstr: offloadSvg });

/** Dask's dashboards, on the card of a cluster. */
export const dashboardsIcon = new LabIcon({
  name: 'jupyter-offload:dashboards',
  svgstr: dashboardsSvg
});
