#!/usr/bin/env python3
"""schemas.py OURS THEIRS: two registered schemas (JSON as the registry answers), parsed, name by name; PREFIX= of each in argv[3], argv[4].

Prints a line for each difference, by the field's path. What only our readers look at (towline.*) is passed over, since others pass over it;
the prefix in names is the same thing in both."""
import json, sys


def load(path, prefix):
    text = json.load(open(path))["schema"]
    return json.loads(text.replace(prefix + ".", "PREFIX."))


def full(name, space):
    return name if "." in name or not space else space + "." + name


def plain(s, space, known):
    """Names in full, a named type's second use as its definition, {"type": "int"} as "int"."""
    if isinstance(s, list):
        return [plain(x, space, known) for x in s]
    if isinstance(s, str):
        return known.get(full(s, space), s)
    out = {k: v for k, v in s.items() if not k.startswith("towline.")}
    if s["type"] in ("record", "enum", "fixed"):
        name = full(s["name"], s.get("namespace", space))
        space = name.rpartition(".")[0]
        out.pop("namespace", None)
        out["name"] = name
        known[name] = name
        if "fields" in s:
            out["fields"] = []
            for f in s["fields"]:
                g = {k: v for k, v in f.items() if not k.startswith("towline.")}
                g["type"] = plain(f["type"], space, known)
                out["fields"].append(g)
        known[name] = out
    elif s["type"] == "array":
        out["items"] = plain(s["items"], space, known)
    elif s["type"] == "map":
        out["values"] = plain(s["values"], space, known)
    elif set(out) == {"type"}:
        return plain(out["type"], space, known)
    elif not isinstance(s["type"], str):
        out["type"] = plain(s["type"], space, known)
    return out


def show(x):
    return json.dumps(x, sort_keys=True, ensure_ascii=False)


def column(f):
    return show(f["type"]) + (" = " + show(f["default"]) if f.get("default") is not None else "")


def diff(a, b, at, out):
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            if k == "fields" and k in a and k in b:
                ours, theirs = {f["name"]: f for f in a[k]}, {f["name"]: f for f in b[k]}
                for n in list(ours) + [n for n in theirs if n not in ours]:
                    if n not in theirs:
                        out.append(f"{at}.{n}: only ours: {show(ours[n]['type'])}")
                    elif n not in ours:
                        out.append(f"{at}.{n}: only theirs: {show(theirs[n]['type'])}")
                    elif at in (".before", ".after"):  # a column: as a whole
                        if ours[n] != theirs[n]:
                            out.append(f"{at}.{n}: ours {column(ours[n])} theirs {column(theirs[n])}")
                    else:
                        diff(ours[n], theirs[n], f"{at}.{n}", out)
                both = [n for n in ours if n in theirs]
                if both != [n for n in theirs if n in ours]:
                    out.append(f"{at}: another order of fields")
            elif k not in a or k not in b:
                out.append(f"{at} {k}: ours {show(a.get(k))} theirs {show(b.get(k))}")
            else:
                diff(a[k], b[k], at if k == "type" else f"{at} {k}", out)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for x, y in zip(a, b):
            diff(x, y, at, out)
    elif a != b:
        out.append(f"{at}: ours {show(a)} theirs {show(b)}")


ours, theirs, name, other = sys.argv[1:5]
out = []
diff(plain(load(ours, name), "", {}), plain(load(theirs, other), "", {}), "", out)
for line in dict.fromkeys(out):
    print(line)
