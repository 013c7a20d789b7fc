// Elements without HTML from strings, which the page's policy forbids.

export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} name of the tag, with classes: "p.lead.quiet".
 * @param {object} properties of the element; "aria-…" and "role" become attributes.
 * @param {...(Node|string)} children
 */
export function create(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

/** Say something to screen readers, after what is being said already. */
export function announce(...said) {
  const log = byId("announcements");
  log.append(create("p", {}, ...said));
  while (log.childElementCount > 4) log.firstElementChild.remove();
}
