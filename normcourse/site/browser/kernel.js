// Python in a worker or in Node: starts Pyodide with NumPy and the course's package, then answers.

/**
 * runtime: address or folder of the runtime. archive: the package as bytes (a Uint8Array).
 * Returns ask(request, print): the request and the answer as text, what is printed piece by piece.
 */
export async function start({ runtime, archive, loadPyodide }) {
  const python = await loadPyodide({
    indexURL: runtime,
    packageBaseUrl: runtime, // never another host
    env: { HOME: "/home/pyodide", NORMCOURSE_PROGRESS: "off" },
    packages: ["numpy"],
    stdout: () => {},
    stderr: () => {},
  });
  if (!("numpy" in python.loadedPackages)) throw new Error("NumPy did not arrive");
  python.unpackArchive(archive, "zip", { extractDir: "/lib/normcourse" });
  const answer = python.runPython(`
import sys
sys.path.insert(0, "/lib/normcourse")
from normcourse.checks.page import answer
answer
`);
  return (request, print) => answer(request, print);
}
