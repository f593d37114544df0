import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { commandsPlugin } from './plugins/commands';
import { dashboardsPlugin } from './plugins/dashboards';
import { launcherPlugin } from './plugins/launcher';
import { logsPlugin } from './plugins/logs';
import { modelPlugin } from './plugins/model';
import { notebookPlugin } from './plugins/notebook';
import { notificationsPlugin } from './plugins/notifications';
import { panelPlugin } from './plugins/panel';
import { runningPlugin } from './plugins/running';
import { settingsPlugin } from './plugins/settings';
import { statusbarPlugin } from './plugins/statusbar';

export * from './tokens';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  modelPlugin,
  settingsPlugin,
  commandsPlugin,
  panelPlugin,
  logsPlugin,
  notificationsPlugin,
  notebookPlugin,
  dashboardsPlugin,
  runningPlugin,
  statusbarPlugin,
  launcherPlugin
];

export default plugins;
