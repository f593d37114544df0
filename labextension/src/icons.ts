import { LabIcon } from '@jupyterlab/ui-components';
import offloadSvg from '../style/icons/offload.svg';

/** The mark of the extension: panel, panes, launcher, toolbar, running clusters. */
export const offloadIcon = new LabIcon({ name: 'jupyter-offload:icon', svgstr: offloadSvg });
