"""An SSH server that runs git: `ssh_server.py FOLDER ed25519|two`. Keys, known_hosts and the port are written to FOLDER."""

import asyncio
import os
import shlex
import sys

import asyncssh

folder, keys = sys.argv[1], sys.argv[2]


def path(name):
    return os.path.join(folder, name)


def make_key(name, kind="ssh-ed25519"):
    key = asyncssh.generate_private_key(kind)
    key.write_private_key(path(name))
    key.write_public_key(path(name + ".pub"))
    return key


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        with open(path("offers"), "a") as offers:
            offers.write(username + "\n")
        return key.public_data == client.public_data


async def run(process):
    words = shlex.split(process.command or "")
    if len(words) != 2 or words[0] not in ("git-upload-pack", "git-receive-pack"):
        process.stderr.write(b"only git is served here\n")
        process.exit(128)
        return
    child = await asyncio.create_subprocess_exec(
        "git", words[0].removeprefix("git-"), words[1],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    status = await child.wait()
    await process.stdout.drain()
    process.exit(status)


async def main():
    global client
    client, stranger = make_key("client"), make_key("stranger")
    host_keys = [make_key("host_ed25519")]
    known = host_keys[0]
    if keys == "two":
        known = make_key("host_ecdsa", "ecdsa-sha2-nistp256")
        host_keys.append(known)
    server = await asyncssh.create_server(
        Server, "127.0.0.1", 0, server_host_keys=host_keys, process_factory=run, encoding=None,
    )
    port = server.sockets[0].getsockname()[1]
    for name, key in (("known_hosts", known), ("wrong_known_hosts", stranger)):
        public = key.export_public_key("openssh").decode().split()
        with open(path(name), "w") as file:
            file.write(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    with open(path("port.new"), "w") as file:
        file.write(str(port))
    os.rename(path("port.new"), path("port"))
    await server.wait_closed()


asyncio.run(main())
