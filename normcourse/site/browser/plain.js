// The editor where the real one cannot be loaded: a text field with the same interface.

export function createEditor({ parent, code, label, describedBy, keys, onChange }) {
  const field = document.createElement("textarea");
  field.className = "nc-plain-editor";
  field.value = code;
  field.rows = Math.max(6, code.split("\n").length + 1);
  field.spellcheck = false;
  field.autocapitalize = "off";
  field.setAttribute("aria-label", label);
  field.setAttribute("aria-describedby", describedBy);
  let before = code; // what Undo brings back after a replacement
  field.addEventListener("input", onChange);
  field.addEventListener("keydown", (event) => {
    const name = `${event.ctrlKey || event.metaKey ? "Mod-" : ""}${event.shiftKey ? "Shift-" : ""}${event.key}`;
    if (!keys[name]) return;
    event.preventDefault();
    keys[name]();
  });
  parent.append(field);
  return {
    get code() { return field.value; },
    set code(text) {
      if (text === field.value) return;
      before = field.value;
      field.value = text;
      onChange();
    },
    get focused() { return document.activeElement === field; },
    focus: () => field.focus(),
    undo() {
      [field.value, before] = [before, field.value];
      onChange();
    },
  };
}
