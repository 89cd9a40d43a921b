// Judges JSON bodies with Node's own parser. Input and output are those of oracle.py.
const lines = require("fs").readFileSync(process.argv[2], "latin1").split("\n").slice(0, -1);
const verdicts = lines.map((line) => {
  let value;
  try {
    value = JSON.parse(Buffer.from(line, "base64").toString("utf8"));
  } catch {
    return "refused";
  }
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  const model = isObject && Object.hasOwn(value, "model") ? value.model : undefined;
  return typeof model === "string" ? "model " + Buffer.from(model, "utf8").toString("hex") : "none";
});
console.log(verdicts.join("\n"));
