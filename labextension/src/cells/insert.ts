import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import { clientCell, isClientCell, type Route } from './code';

/**
 * Put the client cell of a cluster where the active cell is and select it. An empty active cell is filled; a client cell
 * of the same cluster that is already there is selected instead of making a second one.
 */
export async function insertClientCell(panel: NotebookPanel, route: Route): Promise<void> {
  const notebook = panel.content;
  const existing = notebook.widgets.findIndex(
    cell =>
      cell.model.type === 'code' && isClientCell(cell.model.sharedModel.getSource(), route)
  );
  if (existing >= 0) {
    notebook.activeCellIndex = existing;
  } else {
    const active = notebook.activeCell;
    const isEmpty =
      active?.model.type === 'code' && active.model.sharedModel.getSource().trim() === '';
    if (!isEmpty) {
      NotebookActions.insertAbove(notebook);
    }
    notebook.activeCell?.model.sharedModel.setSource(clientCell(route));
  }
  notebook.deselectAll();
  await notebook.scrollToItem(notebook.activeCellIndex);
}
