// Shows the middle of the page as the server paints it. Without this script the page loads itself again instead.
"use strict";
const middle = document.getElementById("middle");
const link = document.getElementById("link");
const stream = new EventSource("live");
stream.addEventListener("middle", (event) => {
  middle.innerHTML = event.data;
  link.textContent = "live";
});
stream.addEventListener("open", () => { link.textContent = "live"; });
stream.addEventListener("error", () => { link.textContent = "not connected, trying again"; });
