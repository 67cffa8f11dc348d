// Hands the token in: the one of the link, which no server sees before, or the one that is typed.

const field = document.getElementById("token");
const error = document.getElementById("error");

async function logIn(token) {
  let text = "The server does not answer. Is it still running?";
  try {
    const answer = await fetch("api/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) {
      location.replace("./");
      return;
    }
    text = (await answer.json()).error;
  } catch {
    // the text above
  }
  error.textContent = text;
  error.hidden = false;
  field.select();
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  logIn(field.value.trim());
});

const fromLink = new URLSearchParams(location.hash.slice(1)).get("token");
if (location.hash || location.search) history.replaceState(null, "", location.pathname);
if (fromLink) logIn(fromLink);
else field.focus();
