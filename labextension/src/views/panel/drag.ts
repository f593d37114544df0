import type { CellType, ICell } from '@jupyterlab/nbformat';
import { MimeData } from '@lumino/coreutils';
import { Drag } from '@lumino/dragdrop';
import { offloadIcon } from '../../icons';

/** What notebooks take for cells. */
const CELLS_MIME = 'application/vnd.jupyter.cells';
/** Pixels that make a press a drag, as in Lab's notebook. */
const THRESHOLD = 5;

/** A code cell as notebooks take it on a drop. */
function codeCell(source: string): ICell {
  const type: CellType = 'code';
  return { cell_type: type, execution_count: null, metadata: {}, outputs: [], source };
}

/** After a press on a card: once the pointer has moved, drag the cell that connects to its cluster. */
export function dragCell(
  event: React.PointerEvent<HTMLElement>,
  name: string,
  readCode: () => Promise<string>
): void {
  if (
    event.button !== 0 ||
    (event.target as HTMLElement).closest('.jp-Offload-buttons, summary')
  ) {
    return;
  }
  const { clientX, clientY } = event;
  const code = readCode();
  code.catch(() => undefined); // said below, if the drag comes about
  const end = () => {
    document.removeEventListener('pointermove', move, true);
    document.removeEventListener('pointerup', end, true);
  };
  const move = (moved: PointerEvent) => {
    if (
      Math.abs(moved.clientX - clientX) < THRESHOLD &&
      Math.abs(moved.clientY - clientY) < THRESHOLD
    ) {
      return;
    }
    end();
    code.then(
      text => startDrag(name, text, moved),
      (error: unknown) => console.error('Offload: the client cell could not be made.', error)
    );
  };
  document.addEventListener('pointermove', move, true);
  document.addEventListener('pointerup', end, true);
}

function startDrag(name: string, text: string, event: PointerEvent): void {
  const mimeData = new MimeData();
  mimeData.setData(CELLS_MIME, [codeCell(text)]);
  mimeData.setData('text/plain', text);
  const drag = new Drag({
    mimeData,
    dragImage: dragImage(name),
    supportedActions: 'copy',
    proposedAction: 'copy'
  });
  void drag.start(event.clientX, event.clientY).then(() => drag.dispose());
}

function dragImage(name: string): HTMLElement {
  const node = document.createElement('div');
  node.className = 'jp-Offload-dragImage';
  offloadIcon.element({ container: node, tag: 'span', width: '16px', height: '16px' });
  const label = document.createElement('span');
  label.textContent = name;
  node.append(label);
  return node;
}
