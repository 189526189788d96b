"""TLS in front of a server on this machine: `tls_front.py FOLDER PORT`. Writes ca.pem and the port to FOLDER. When the server closes a connection it
is cut off without a word, as balancers do."""

import asyncio
import datetime
import ipaddress
import os
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

folder, server = sys.argv[1], int(sys.argv[2])


def path(name):
    return os.path.join(folder, name)


def certificate(name, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer or subject, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def write(name, *parts):
    with open(path(name + ".new"), "wb") as out:
        out.write(b"".join(parts))
    os.rename(path(name + ".new"), path(name))


authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
authority = certificate("authority", authority_key, None, authority_key, (x509.BasicConstraints(True, None), True))
names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
leaf = certificate(
    "localhost",
    key,
    authority.subject,
    authority_key,
    (x509.SubjectAlternativeName(names), False),
    (x509.BasicConstraints(False, None), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
)
pem = serialization.Encoding.PEM
write("ca.pem", authority.public_bytes(pem))
private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
write("server.pem", leaf.public_bytes(pem), private)


async def pump(reader, writer, end):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    end()


async def serve(reader, writer):
    back_reader, back_writer = await asyncio.open_connection("127.0.0.1", server)
    await asyncio.gather(
        pump(reader, back_writer, back_writer.close), pump(back_reader, writer, writer.transport.abort)
    )


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server.pem"))
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    write("port", str(listening.sockets[0].getsockname()[1]).encode())
    await listening.serve_forever()


asyncio.run(main())
